"""What column names mean: the names shops, platforms and public data sets give to the contract's columns.

A role is a column of a contract table, or a helper (`id`, `status`, `age` …). One name may have several roles; which one holds
is decided by the file it stands in (guess_map.py). The earlier a name stands in its row, the surer it is.
Names are compared in small letters without marks: `user_id`, `userId`, `User ID` are all `userid`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

ROLES: dict[str, str] = {
    # who
    "user_id": """userid uid customerid custid cid custno customerno customernumber custnum clientid memberid memberno buyerid buyeruserid shopperid
        accountid accountno useridx userno usersn userkey customerkey householdid householdkey distinctid usersessionuserid visitoruserid consumerid
        customeruserid userpin reviewerid authorid raterid recid recordid uniqueid personid profileid user customer member buyer client login username
        nickname buyernick openid unionid fromuserid fromuser sourceuser source_user followerid trusterid truster
        用户id 用户编号 用户号 用户标识 会员id 会员编号 会员号 会员卡号 会员 客户id 客户编号 客户号 客户代码 客户 买家id 买家编号 买家会员名 买家会员编号 买家会员号 买家会员id 买家账号 买家昵称 买家 顾客id 顾客编号 用户 用户名 账号 登录名""",
    "anonymous_id": """anonymousid userpseudoid visitorid cookieid clientuuid deviceid gaclientid fullvisitorid domainuserid cookie imei idfa oaid
        匿名id 访客id 访客编号 设备id 设备号""",
    "other_id": """otherid friendid followeeid followedid followingid touserid targetuserid targetid trusteeid trustee touser targetuser
        friend followee userid2 uid2 user2 referredid refereeid inviteeid 好友id 好友编号 好友 对方id 对方用户编号 被关注者 被关注用户 被邀请人""",
    "email": """email emailaddress mail customeremail buyeremail billingemail useremail e-mail contactemail 邮箱 电子邮箱 邮箱地址 邮件""",
    "phone": """phone phonenumber mobile mobilephone mobileno tel telephone billingphone shippingphone cellphone contactphone phoneno
        手机 手机号 手机号码 电话 联系电话 收货人手机 联系手机 电话号码""",
    "name": """name fullname realname customername username billingname shippingname contactname membername buyername recipientname givenname firstname
        姓名 真实姓名 客户姓名 会员姓名 用户姓名 收货人姓名 收货人 收件人 联系人 买家姓名 名字""",
    "surname": "surname lastname familyname 姓",
    "address": """address streetaddress postaladdress fulladdress shippingaddress billingaddress billingstreet shippingstreet address1 billingaddress1
        street shippingaddress1 addressline1 地址 收货地址 详细地址 收件地址 联系地址 家庭住址""",
    "address_part": """streetnumber housenumber address2 suburb postcode zip zipcode postalcode billingzip shippingzip billingpostcode billingaddress2
        addressline2 shippingaddress2 邮编 邮政编码""",
    "id_number": "idnumber idcard idcardno identitynumber ssn socsecid nationalid passport 身份证 身份证号 身份证号码 证件号 证件号码",
    "birth_date": "birthdate dateofbirth dob birthday 出生日期 生日 出生年月日",
    "birth_year": "birthyear yearofbirth yob 出生年份 出生年",
    "age": "age userage 年龄",
    "age_band": "ageband agegroup agerange agelevel agebucket agesegment 年龄段 年龄区间 年龄层",
    "gender": "gender sex 性别",
    "city": "city town billingcity shippingcity usercity location locality 城市 所在城市 市 收货城市",
    "region": "region state province county billingprovince billingstate shippingprovince shippingstate provincename 省份 省 所在省份 地区 区域",
    "country": "country countrycode billingcountry shippingcountry countryname nation 国家 国家地区 国别",
    "occupation": "occupation job profession jobtitle career 职业 工作",
    "education": "education educationlevel degree edulevel 学历 教育程度",
    "marital_status": "maritalstatus marital marriage 婚姻状况 婚姻 婚否",
    "household_size": "householdsize familysize hhsize householdsizedesc 家庭人数 家庭人口",
    "children": "children kids kidcount kidcategorydesc kidscount numchildren 子女数 孩子数 子女",
    "income_band": "incomeband income incomelevel incomerange incomedesc annualincome salary 收入 收入段 年收入 月收入 收入水平",
    "member_level": """memberlevel userlvcd userlevel viplevel vip tier loyaltytier membershiplevel memberrank level userlv customergroup membership
        会员等级 会员级别 用户等级 等级 客户等级""",
    "signup_channel": "signupchannel registerchannel registrationchannel signupsource acquisitionchannel acceptsmarketingsource 注册渠道 注册来源 来源渠道",
    "consent": "consent consents purposes agreedto gdprconsent 同意 同意的用途 授权",
    "registered_at": """registeredat registrationdate registrationtime registerdate registertime regtime regdate userregtm signupdate signuptime
        signedupat datejoined joindate joinedat membersince createdat customersince datecreated accountcreated dateregistered created userregtime
        注册时间 注册日期 开户时间 入会时间 入会日期 创建时间""",
    # on what
    "item_id": """itemid productid skuid sku goodsid stockcode articleid asin productcode itemcode goodscode goodsno goodssn productsku itemsku variantid
        lineitemsku isbn upc barcode spuid productno materialno movieid songid bookid offerid product item goods auctionid wareid numiid
        commodityid parentasin variationid 商品id 商品编号 商品编码 商品代码 商品sku 货号 产品id 产品编号 产品编码 sku编码 sku编号 商家编码 宝贝id 款号""",
    "title": """title productname itemname goodsname producttitle itemtitle goodstitle lineitemname description productdescription skuname stockdescription
        movietitle itemdescription producttype commodityname name 商品名称 商品名 商品标题 产品名称 产品名 宝贝标题 宝贝名称 标题 品名 名称""",
    "category": """category categoryid cate cateid cat catid categoryname productcategory itemcategory itemcategoryid categorycode productclassify class
        goodscategory productcategoryname maincategory genre genres department catalog categories catalogid productcat commodityclassify type
        类目 类目id 商品类目 商品类别 商品分类 分类 品类 类别 产品类别 产品分类 类别名称""",
    "brand": "brand brandid brandname itembrand productbrand manufacturer make vendor maker 品牌 品牌id 品牌名称 品牌名 厂商",
    "list_price": "listprice price originalprice regularprice marketprice retailprice productprice itemprice msrp 标价 原价 市场价 吊牌价 售价 价格 零售价",
    "image": "image imageurl imagesrc picture pictureurl imagepath img imgurl thumbnail photo 图片 商品图片 主图 图片地址",
    "description": "description bodyhtml details longdescription productdescription summary desc 描述 商品描述 商品详情 详情 简介",
    "content_vector": """contentvector itemvector itemembedding contentembedding embedding vector titlevector titleembedding textembedding textvector
        imagevector imageembedding 内容向量 商品向量 标题向量 图片向量 向量""",
    # what was done
    "event": """event eventname eventtype behaviortype behaviourtype behavior behaviour action actiontype activity activitytype actionname act type
        useraction userbehavior 事件 事件名 事件名称 行为 行为类型 操作 操作类型 动作""",
    "event_id": "eventid logid trackid messageid insertid eventuuid recordno 事件id 事件编号 流水号 日志id",
    "session_id": "sessionid session usersession visitid gasessionid sessionkey sid 会话id 会话编号 会话",
    "order_id": """orderid ordernumber orderno ordersn invoiceno invoice invoiceid basketid transactionid transid tradeid tid receiptid receiptno ordername
        purchaseid orderkey parentorderid order transactionno ticketid saleid salesorder 订单编号 订单号 订单id 交易编号 交易号 单号 发票号 小票号 主订单编号""",
    "quantity": """quantity qty itemquantity orderquantity lineitemquantity units num numberofcds count amountofitems productcount itemcount goodsnum
        quantityordered unitssold volume pieces numberofitems productquantity
        数量 购买数量 商品数量 件数 宝贝数量 销量 购买件数""",
    "price": """unitprice price itemprice saleprice sellingprice lineitemprice productprice unitcost itemcost priceeach sellprice goodsprice cashprice
        actualprice finalprice dealprice 单价 成交单价 商品单价 成交价 价格 销售价 商品价格 售价 实际单价""",
    "amount_line": """amount paidamount linetotal lineamount salesvalue sales revenue netamount payamount paid itemtotal dollars dollarvalue itemrevenue
        linevalue lineprice extendedprice itemsubtotal spend spent value monetary actualpay payment paymentvalue
        实付金额 支付金额 实付 金额 成交金额 消费金额 付款金额 买家实付金额 买家实际支付金额 销售额 销售金额 应付金额""",
    "amount_order": """total ordertotal totalamount totalprice grandtotal ordertotalamount totalpaid orderamount subtotal paidtotal ordervalue purchaserevenue
        totalsales totalrevenue transactionrevenue 总金额 订单金额 订单总额 总价 合计 总额 订单实付金额 订单总金额""",
    "discount": """lineitemdiscount linediscount discount discountamount retaildisc couponamount discountvalue reduction totaldiscount promotionamount
        优惠金额 折扣金额 优惠 折扣 减免金额 优惠券金额""",
    "coupon_id": "couponid couponcode discountcode coupon vouchercode voucherid promocode couponno 优惠券id 优惠券编号 优惠券 优惠码",
    "campaign_id": "campaignid campaign utmcampaign promotionid activityid campaignname adcampaign 活动id 活动编号 活动 营销活动",
    "text": """text reviewtext comment review content reviewcontent searchterm keyword query searchquery keywords searchkeyword body message commenttext feedback
        评价 评价内容 评论 评论内容 搜索词 关键词 内容 咨询内容 留言 文本""",
    "rating": "rating score stars overall star ratingvalue starrating reviewscore 评分 星级 打分 评价分数",
    "channel": """channel saleschannel trafficsource utmsource platform storeid store source sourcename orderchannel medium shop appid terminal
        渠道 来源 销售渠道 订单来源 门店 店铺 店铺名称 平台 门店编号""",
    "device": "device devicetype devicecategory os model useragent devicemodel operatingsystem clientos 设备 设备类型 终端 机型 操作系统",
    "ts": """ts timestamp eventtime eventtimestamp time datetime date invoicedate orderdate ordertime transactiontimestamp transactiondate transactiontime
        createdat paidat paytime paidtime paymenttime purchasedate purchasetime ordercreatedat orderplacedat createtime createdtime createtm created actiontime
        behaviortime clicktime viewtime visittime logtime occurredat originaltimestamp saledate purchasedat orderpurchasetimestamp day dt ratingtime
        reviewtime unixreviewtime reviewdate submittedat createddate eventdatetime invoicetime unixtime eventdate servertime requesttime datecreated
        timestampms processedat timeofpurchase orderedat orderedon placedat
        时间 时间戳 下单时间 付款时间 支付时间 订单付款时间 订单创建时间 创建时间 交易时间 成交时间 购买时间 行为时间 日期 下单日期 订单日期 购买日期 发生时间 访问时间 事件时间 评价时间 操作时间 消费时间 开票日期""",
    "received_at": "receivedat ingestedat loadedat recvtime receivetime servertimestamp 接收时间 入库时间 上报时间",
    # ties and identifiers
    "kind": "kind type relation relationtype relationship tie identifiertype idtype identitytype 类型 关系 关系类型 标识类型",
    "since": "since createdat timestamp date time followedat ts followtime 起始时间 时间 关注时间 建立时间",
    "value": "value identifier identifiervalue idvalue identity externalid 标识 标识值 值",
    # helpers
    "id": "id no number key code 编号 序号",
    "status": """status orderstatus financialstatus state paymentstatus tradestatus fulfillmentstatus
        订单状态 状态 交易状态 支付状态""",
    "currency": "currency currencycode ordercurrency 币种 货币 货币代码",
}  # fmt: skip

# Platforms wrap names: `properties.product_id`, `Lineitem sku`, `fields.userId`.
_WRAPS = re.compile(
    r"^(properties|props|fields|payload|data|params|traits|context|attributes|lib|ecommerce|geo|device|items?|user|customer|products)\.(0\.)?\$?"
)
_TYPES = re.compile(r":(token|token_seq|float|float_seq)$")  # RecBole's atomic files


def plain_name(name: str) -> str:
    """A column name in small letters without marks, spaces or type tags."""
    text = _TYPES.sub("", unicodedata.normalize("NFKC", name).strip().lstrip("\ufeff").lower())
    return re.sub(r"[^\w]|_", "", text)


@cache
def _index() -> dict[str, dict[str, int]]:
    """plain name -> role -> rank (0: surest)."""
    index: dict[str, dict[str, int]] = {}
    for role, names in ROLES.items():
        for rank, name in enumerate(names.split()):
            index.setdefault(plain_name(name), {}).setdefault(role, rank)
    return index


@cache
def roles_of(name: str) -> dict[str, int]:
    """The roles a column name may have, each with its rank (0: surest)."""
    whole = _index().get(plain_name(name))
    if whole is not None:
        return whole
    text = name.strip().lower()
    while (inner := _WRAPS.sub("", text)) != text:
        text = inner
        found = _index().get(plain_name(text))
        if found is not None:
            return found
    if is_consent_name(name):
        return {"consent": 500}
    bracketed = re.sub(r"[(（\[].*?[)）\]]", "", name)  # `Amount (USD)`, `金额（元）`
    return _index().get(plain_name(bracketed), {}) if bracketed != name else {}


_CONSENT = re.compile(
    r"consent|optin|optedin|accepts?(email|sms|push)?marketing|marketingaccept|privacyagree|agree(d|ment|tomarketing)?$"
    r"|newsletter$|subscribed(to)?|同意|授权|许可|(接收|订阅)(短信|邮件|推送|消息|营销|推广)"
)
_CHANNELS = {
    "email": re.compile(r"e?mail(?!er)|newsletter|邮件|邮箱"),
    "sms": re.compile(r"sms|textmessage|短信"),
    "push": re.compile(r"push|推送"),
    "wechat": re.compile(r"wechat|weixin|微信|公众号"),
    "whatsapp": re.compile(r"whatsapp"),
    "phone": re.compile(r"phone|telephone|calls?$|电话"),
}
_MARKETING = re.compile(r"market|promo|advert|newsletter|subscri|营销|推广|促销|广告|订阅")


def is_consent_name(name: str) -> bool:
    """Whether a name that is no plain `consent` sounds as if it said who agreed to something."""
    plain = plain_name(name)
    return bool(_CONSENT.search(plain)) and "consent" not in _index().get(plain, {})


def asked_purpose(name: str) -> str:
    """What a yes/no column of consent asks about, by its name: a channel, "marketing", or "" for the profile itself."""
    plain = plain_name(name)
    channel = next((one for one, words in _CHANNELS.items() if words.search(plain)), "")
    return channel or ("marketing" if _MARKETING.search(plain) else "")


def is_known_name(name: str) -> bool:
    return bool(roles_of(name)) or category_level(name) is not None


_LEVEL = re.compile(r"(?:item|product|goods|商品)?(?:category|categ|cate|cat|类目|分类|品类)(?:l|lv|level|级)?(\d)$")
_NAMED_LEVELS = {
    "department": 0, "maincategory": 1, "一级类目": 1, "一级分类": 1, "subcategory": 2, "二级类目": 2, "二级分类": 2, "productsubcategory": 2,
    "commodity": 2, "commoditydesc": 2, "subcommodity": 3, "subcommoditydesc": 3, "三级类目": 3, "三级分类": 3, "productcategory": 1,
}  # fmt: skip


def category_level(name: str) -> int | None:
    """The depth a category column's name states (`category2`, 二级类目, subcategory), or None."""
    plain = plain_name(name)
    found = _LEVEL.fullmatch(plain)
    return int(found.group(1)) if found else _NAMED_LEVELS.get(plain)


PERSONAL_ROLES = ("name", "surname", "email", "phone", "address", "address_part", "id_number", "birth_date")
_PERSONAL_WORDS = re.compile(
    r"name$|^name|phone|mobile|mail|address|street|passport|birth|contact|passw|card|^ip$|ipaddr|openid|unionid|token|latitude|longitude|wechat|weixin|qq|姓名|电话|手机|邮箱|地址|证件|身份证|微信|联系|收货人|收件人|昵称|密码|银行卡"
)
_NOT_PERSONAL = re.compile(
    r"^(product|item|goods|brand|event|category|cate|shop|store|campaign|file|page|country|city|商品|产品|品牌)"
)


def sounds_personal(name: str) -> bool:
    """Whether a column's name says that it holds something about who a person is."""
    plain = plain_name(name.rpartition(".")[2])
    return any(role in PERSONAL_ROLES for role in roles_of(name)) or bool(
        _PERSONAL_WORDS.search(plain) and not _NOT_PERSONAL.search(plain)
    )
